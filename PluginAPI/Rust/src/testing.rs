//! Enough of a host to call a plugin from its own tests, without Knap: no extensions, and no calls to others.
//!
//! What a plugin does in a real host `knap check` tells.

use crate::json::Value;
use crate::{raw, Code, Error, Plugin, Table};
use core::ffi::{c_char, c_void};
use core::mem::size_of;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Mutex;

type Ended = Result<std::string::String, Error>;

/// A plugin that runs in a test.
pub struct TestHost {
    // First: the plugin's pointer to the host is a pointer to this.
    inner: std::boxed::Box<Inner>,
    plugin: &'static raw::Plugin,
    instance: *mut c_void,
}

#[repr(C)]
struct Inner {
    host: raw::Host,
    calls: raw::Calls,
    buffers: raw::Buffers,
    in_flight: Mutex<std::collections::HashMap<u64, Sender<Ended>>>,
    last: std::sync::atomic::AtomicU64,
}

impl TestHost {
    /// Makes an instance and activates it.
    pub fn open<P: Plugin>() -> Result<TestHost, Error> {
        let mut inner = std::boxed::Box::new(Inner {
            host: raw::Host {
                size: size_of::<raw::Host>() as u32, abi: 0, calls: core::ptr::null(), buffers: core::ptr::null(), extension,
            },
            calls: raw::Calls {
                size: size_of::<raw::Calls>() as u32, reserved: 0, complete, listen, send, half_close: refuse, grant,
                cancel: refuse, info, wait: refuse,
            },
            buffers: raw::Buffers { size: size_of::<raw::Buffers>() as u32, reserved: 0, create, keep, release },
            in_flight: Mutex::default(),
            last: Default::default(),
        });
        inner.host.calls = &inner.calls;
        inner.host.buffers = &inner.buffers;
        let plugin = Table::<P>::make();
        let mut instance = core::ptr::null_mut();
        let status = unsafe { (plugin.create)(&inner.host, &mut instance) };
        if status != 0 {
            return Err(Error::new(code(status), "create failed"));
        }
        let test = TestHost { inner, plugin, instance };
        test.hook(plugin.prepare)?;
        test.hook(plugin.activate)?;
        Ok(test)
    }

    /// Calls "service.method" and waits for the answer.
    pub fn call(&self, method: &str, input: &Value) -> Result<Value, Error> {
        self.call_with(method, std::string::ToString::to_string(input).as_bytes())
    }

    /// Calls "service.method" with any bytes.
    pub fn call_with(&self, method: &str, body: &[u8]) -> Result<Value, Error> {
        let methods = unsafe { core::slice::from_raw_parts(self.plugin.methods, self.plugin.method_count as usize) };
        let found = methods.iter().position(|row| unsafe { core::ffi::CStr::from_ptr((**row).name) }.to_bytes() == method.as_bytes());
        let Some(index) = found else { return Err(Error::new(Code::Unimplemented, "no such method")) };
        let (call, answer) = self.begin();
        let request = raw::Request {
            size: size_of::<raw::Request>() as u32, method: index as u32, call,
            body: raw::Bytes { data: body.as_ptr(), size: body.len() as u64 }, buffer: core::ptr::null_mut(),
        };
        unsafe { ((*methods[index]).call)(self.instance, &request) };
        let body = answer.recv().map_err(|_| Error::new(Code::Internal, "it was not answered"))??;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        Value::parse(body.as_bytes()).map_err(|error| Error::new(Code::Internal, std::format!("the answer is not JSON: {error}")))
    }

    fn hook(&self, hook: unsafe extern "C" fn(*mut c_void, u64)) -> Result<(), Error> {
        let (call, answer) = self.begin();
        unsafe { hook(self.instance, call) };
        answer.recv().map_err(|_| Error::new(Code::Internal, "it was not answered"))?.map(|_| ())
    }

    fn begin(&self) -> (u64, Receiver<Ended>) {
        let (sender, receiver) = channel();
        let call = self.inner.last.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        self.inner.in_flight.lock().unwrap().insert(call, sender);
        (call, receiver)
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        let _ = self.hook(self.plugin.suspend);
        unsafe { (self.plugin.destroy)(self.instance) }
    }
}

fn code(status: i32) -> Code {
    // Each number from 1 to 16 is a code.
    if (1..=16).contains(&status) { unsafe { core::mem::transmute::<i32, Code>(status) } } else { Code::Unknown }
}

unsafe fn string(data: *const u8, size: u64) -> std::string::String {
    let bytes: &[u8] = if size == 0 { &[] } else { core::slice::from_raw_parts(data, size as usize) };
    std::string::String::from_utf8_lossy(bytes).into_owned()
}

unsafe extern "C" fn complete(host: *const raw::Host, call: u64, result: *const raw::CallResult) -> i32 {
    let inner = &*host.cast::<Inner>();
    let Some(caller) = inner.in_flight.lock().unwrap().remove(&call) else { return Code::FailedPrecondition as i32 };
    let ended = match result.as_ref() {
        None => Ok(std::string::String::new()),
        Some(result) if result.status == 0 => Ok(string(result.body.data, result.body.size)),
        Some(result) => Err(Error::new(code(result.status), string(result.message.data.cast(), result.message.size))),
    };
    let _ = caller.send(ended);
    0
}
unsafe extern "C" fn listen(_: *const raw::Host, _: u64, _: *const raw::Callee, _: *mut c_void) -> i32 {
    Code::Unimplemented as i32
}
unsafe extern "C" fn send(_: *const raw::Host, _: u64, _: *const raw::Item) -> i32 {
    0
}
unsafe extern "C" fn refuse(_: *const raw::Host, _: u64) -> i32 {
    Code::Unavailable as i32
}
unsafe extern "C" fn grant(_: *const raw::Host, _: u64, _: u32) -> i32 {
    0
}
unsafe extern "C" fn info(_: *const raw::Host, _: u64, info: *mut raw::CallInfo) -> i32 {
    let size = (*info).size;
    core::ptr::write_bytes(info.cast::<u8>(), 0, size as usize);
    (*info).size = size;
    0
}
unsafe extern "C" fn extension(_: *const raw::Host, _: *const c_char) -> *const c_void {
    core::ptr::null()
}
unsafe extern "C" fn create(_: *const raw::Host, size: u64, data: *mut *mut u8) -> *mut raw::Buffer {
    // Its size stands before it, for `release`.
    let mut words = std::vec![0u64; size as usize / 8 + 2];
    words[0] = words.len() as u64;
    let buffer = std::boxed::Box::into_raw(words.into_boxed_slice()).cast::<u64>();
    *data = buffer.add(1).cast();
    buffer.cast()
}
unsafe extern "C" fn keep(
    host: *const raw::Host, bytes: raw::Bytes, _: *mut raw::Buffer, kept: *mut raw::Bytes,
) -> *mut raw::Buffer {
    let mut data = core::ptr::null_mut();
    let buffer = create(host, bytes.size, &mut data);
    if bytes.size > 0 {
        core::ptr::copy_nonoverlapping(bytes.data, data, bytes.size as usize);
    }
    if let Some(kept) = kept.as_mut() {
        *kept = raw::Bytes { data, size: bytes.size };
    }
    buffer
}
unsafe extern "C" fn release(_: *const raw::Host, buffer: *mut raw::Buffer) {
    let words = buffer.cast::<u64>();
    drop(std::boxed::Box::from_raw(core::ptr::slice_from_raw_parts_mut(words, *words as usize)));
}
