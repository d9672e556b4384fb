"""The program `tiergarten`: local mode, the demo, and questions to a running router."""
