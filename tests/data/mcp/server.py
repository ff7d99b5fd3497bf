"""A server of tools for tests/tasks.rs, with the Python SDK of the protocol: `server.py stdio` or `server.py http PORT`."""

import os
import sys

try:
    from mcp.server.mcpserver import MCPServer as Server
except ImportError:  # the SDK before 2.0
    from mcp.server.fastmcp import FastMCP as Server

server = Server("restaurants")


@server.tool()
def reserve(people: int, name: str = "nobody") -> str:
    """Reserves a table."""
    if people > 8:
        raise ValueError("no table is that large")
    return f"reserved for {people}"


@server.tool()
def environment() -> str:
    """The names of the environment variables of this program."""
    return " ".join(sorted(os.environ))


@server.tool()
def crash() -> str:
    """Ends this program."""
    os._exit(3)


if sys.argv[1] == "http":
    try:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
    except TypeError:
        server.settings.host, server.settings.port = "127.0.0.1", int(sys.argv[2])
        server.run("streamable-http")
else:
    print("restaurants: ready", file=sys.stderr)
    server.run("stdio")
