//! Knap plugins in Rust.
//!
//! ```
//! use knap::{json::Value, Error, Host, Method, Plugin};
//!
//! struct Greeter;
//!
//! impl Plugin for Greeter {
//!     const NAME: &'static core::ffi::CStr = c"greeter";
//!     const VERSION: &'static core::ffi::CStr = c"0.1.0";
//!     const METHODS: &'static [Method<Self>] = &[Method::answering(c"com.example.greeter.hello", Greeter::hello)];
//!
//!     fn create(_host: Host) -> Result<Self, Error> {
//!         Ok(Greeter)
//!     }
//! }
//!
//! impl Greeter {
//!     fn hello(&self, input: &Value) -> Result<Value, Error> {
//!         let name = input["name"].text().ok_or_else(|| Error::invalid("the argument 'name' must be a text"))?;
//!         Ok(Value::object([("text", format!("Hello, {name}").into())]))
//!     }
//! }
//!
//! knap::plugin!(Greeter);
//! ```
//!
//! Methods may run on several threads at once, so a plugin is `Sync`. A panic ends the call with INTERNAL and goes no
//! further.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod json;
pub mod raw;

#[cfg(feature = "std")]
mod plugin;
#[cfg(feature = "std")]
pub use plugin::*;
#[cfg(feature = "std")]
pub mod testing;
