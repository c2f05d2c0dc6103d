"""What polychat costs, beside what it could cost. ``make bench`` runs all; each module says what it measures and how."""
