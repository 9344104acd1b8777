//! The real daemon in processes of its own, with a fake metadata service and plugins of any
//! language.

#[cfg(test)]
mod daemon {
    mod address;
    mod clock;
    mod cloud;
    mod idle;
    mod kills;
    mod log;
    mod metrics;
    mod promises;
    mod road;
    mod scarce;
    mod secrets;
    mod signals;
    mod signatures;
    mod start;
    mod stop;
    mod stranger;
    mod traces;
    mod voter;
}
