"""What NVIDIA's published SANA-WM weights need: their files, text, video autoencoder, camera inputs and samplers."""
