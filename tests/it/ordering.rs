//! One run at a time per deployment, in order of request.
