//! The cloud side whole: the template deployed in an emulator of AWS, the real functions, the real
//! daemon, the real command.

#[cfg(test)]
mod e2e {
    mod asleep;
    mod hooks;
    mod idle;
    mod kills;
    mod news;
    mod outage;
    mod plugin;
    mod road;
    mod roles;
    mod rules;
    mod sync;
}
