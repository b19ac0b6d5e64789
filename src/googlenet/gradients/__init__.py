"""What gradients tell of a trained network: Grad-CAM, integrated gradients, images of what channels look for. torch."""
