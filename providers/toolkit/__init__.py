"""What adapters share: the HTTP seam, SSE, jobs, and the OpenAI dialect."""
