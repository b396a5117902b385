"""The paper's experiment, decomposing to patching, as a benchmark that resumes and repeats."""
