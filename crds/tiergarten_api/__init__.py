"""The contract between operator, router and local mode: ModelTier and TierRoute.

Nothing here does I/O or reads a clock. The CRD YAML in `crds/` is generated from `v1alpha1`.
"""
