//! The transcoder against prost-reflect, which makes the same conversions from the same schema by way of dynamic messages:
//! on random messages of every type, and on configurations that real control planes wrote.

mod corpus;
mod random;
mod reference;
