"""What runs llama.cpp where no llama-server binary is, and the small models to try it with."""
