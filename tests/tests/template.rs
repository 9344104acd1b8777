//! What must hold for `template.yaml`, before anybody deploys it.

#[cfg(test)]
mod template {
    mod access;
    mod document;
    mod environment;
    mod operations;
    mod planted;
    mod power;
    mod rules;
    mod settings;
    mod shape;
}
