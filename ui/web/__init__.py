"""The web application: pages put together, middleware, signing in."""
