//! The adapters against the fake of the services, with faults call by call.

#[cfg(test)]
mod services {
    mod breakers;
    mod bus;
    mod common;
    mod incidents;
    mod instances;
    mod limits;
    mod other;
    mod policies;
    mod queue;
    mod topic;
    mod trouble;
}
