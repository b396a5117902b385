"""Which kernels each class needs: candidates, their scores, the bracket, the next generation."""
