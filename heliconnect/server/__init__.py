"""The server: data plane, control plane, and the supervisor that runs both."""
