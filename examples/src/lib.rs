//! Runnable recipes; see the folders beside this file.
