//! What must hold for the workspace as a whole, whatever it does.

#[cfg(test)]
mod workspace {
    mod corpus;
    mod documents;
    mod downgrade;
    mod figures;
    mod floors;
    mod golden;
    mod logs;
    mod matrix;
    mod official;
    mod packages;
    mod traces;
    mod trial;
    mod units;
}
