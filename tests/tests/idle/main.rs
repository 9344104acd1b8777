//! The samplers on the machine that runs this, under load that the tests make.

#[cfg(test)]
mod load;
