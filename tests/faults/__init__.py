"""Kinds of fault that were found against outside material, a module each: none of them comes back."""
