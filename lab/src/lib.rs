//! Where Slipway is hurt on purpose: what the commands `slipway simulate`, `slipway soak` and `slipway hook test` and the tests both use. On in
//! builds from source, left out of release images.
