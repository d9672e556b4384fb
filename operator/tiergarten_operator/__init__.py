"""The operator: makes llama.cpp Deployments of ModelTier resources."""
