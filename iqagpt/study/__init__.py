"""Reader studies from outside: images, several readers' scores in their own scales, and how a model stands against them."""
