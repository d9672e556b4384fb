"""The source of the cluster: tiers, routes and endpoints, followed through the Kubernetes API."""
