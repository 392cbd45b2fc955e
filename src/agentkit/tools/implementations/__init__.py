"""The tools that come with agentkit, one a file; `agentkit.tools.TOOLS` names them."""
