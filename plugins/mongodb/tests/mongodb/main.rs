//! `mongodb-flusher` against a stand-in for MongoDB on a real socket, since no server can be had from
//! the packages that the tests install.

#[cfg(test)]
mod flush;
#[cfg(test)]
mod stand_in;
