"""The lab's page, in NiceGUI: what is on a tab, and the server. What it shows is computed in `lpnet.lab`."""
