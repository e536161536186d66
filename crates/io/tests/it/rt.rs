//! Radiotherapy objects in and out.

mod doses;
mod objects;
mod plans;
mod real;
mod structures;
mod written;
