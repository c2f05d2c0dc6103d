"""What is this person's on this machine: cookies of the browsers, and the weights of models."""
