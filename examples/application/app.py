print("hello from an image whose layers follow the content")
