//! The API from a socket.
