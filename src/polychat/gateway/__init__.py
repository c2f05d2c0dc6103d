"""The server side: serves chats in the protocols that clients use."""
