"""Images: links and policy, opening, chips as geometry, chips as pixels."""
