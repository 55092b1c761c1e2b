//! A plugin as a Rust type.

use crate::json::Value;
use crate::raw;
use core::ffi::{c_char, c_void, CStr};
use core::marker::PhantomData;
use core::mem::size_of;
use core::ptr::{null, null_mut};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::string::String;

/// How a call ended, by gRPC's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum Code {
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// A failure that the caller is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// Its kind.
    pub code: Code,
    /// What happened, to what, and what to do.
    pub message: String,
}

impl Error {
    /// A failure of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error { code, message: message.into() }
    }

    /// INVALID_ARGUMENT.
    pub fn invalid(message: impl Into<String>) -> Self {
        Error::new(Code::InvalidArgument, message)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(out, "{:?}: {}", self.code, self.message)
    }
}
impl std::error::Error for Error {}

/// A level of the host's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Level {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
}

/// The host, as one instance sees it. It must not be used after that instance was dropped.
#[derive(Clone, Copy)]
pub struct Host(*const raw::Host);

// The functions behind the pointer are callable from any thread (host.h).
unsafe impl Send for Host {}
unsafe impl Sync for Host {}

impl Host {
    /// The C table.
    pub fn pointer(self) -> *const raw::Host {
        self.0
    }

    /// The host's table for an extension such as `c"knap.log/1"`.
    ///
    /// # Safety
    /// `Table` is what the extension's header declares.
    pub unsafe fn extension<Table>(self, id: &CStr) -> Option<&'static Table> {
        ((*self.0).extension)(self.0, id.as_ptr()).cast::<Table>().as_ref()
    }

    /// Writes a record to the host's log.
    pub fn log(self, level: Level, message: &str) {
        let log = unsafe { self.extension::<raw::HostLog>(c"knap.log/1") };
        let Some(log) = log else { return };
        unsafe {
            if (log.enabled)(self.0, level as i32) != 0 {
                (log.write)(self.0, level as i32, 0, text(message), null(), 0)
            }
        }
    }
}

fn text(value: &str) -> raw::Text {
    raw::Text { data: value.as_ptr().cast::<c_char>(), size: value.len() as u64 }
}

/// A call that this plugin serves. It ends once: by `answer` or `fail`, or with INTERNAL when it is dropped.
pub struct Call {
    host: Host,
    handle: raw::CallHandle,
    has_ended: bool,
}

impl Call {
    /// Ends it with an answer.
    pub fn answer(mut self, value: &Value) {
        self.end(0, std::string::ToString::to_string(value).as_bytes(), "")
    }

    /// Ends it with a failure.
    pub fn fail(mut self, error: &Error) {
        self.end(error.code as i32, &[], &error.message)
    }

    /// Ends it with what this says.
    pub fn finish(self, result: Result<Value, Error>) {
        match result {
            Ok(value) => self.answer(&value),
            Err(error) => self.fail(&error),
        }
    }

    /// Whether the caller has gone or its time is over: stop work.
    pub fn is_cancelled(&self) -> bool {
        let mut info: raw::CallInfo = unsafe { core::mem::zeroed() };
        info.size = size_of::<raw::CallInfo>() as u32;
        let status = unsafe { ((*(*self.host.0).calls).info)(self.host.0, self.handle, &mut info) };
        status != 0 || info.flags & raw::CALL_CANCELLED != 0
    }

    fn end(&mut self, status: raw::Status, body: &[u8], message: &str) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let result = raw::CallResult {
            size: size_of::<raw::CallResult>() as u32,
            status,
            body: raw::Bytes { data: body.as_ptr(), size: body.len() as u64 },
            buffer: null_mut(),
            content_type: text(""),
            message: text(message),
        };
        unsafe { ((*(*self.host.0).calls).complete)(self.host.0, self.handle, &result) };
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let why = if std::thread::panicking() { "the plugin panicked; its log says where" } else { "the plugin did not answer" };
        self.end(Code::Internal as i32, &[], why)
    }
}

/// A method: its name, and the function that serves it.
pub struct Method<P> {
    name: &'static CStr,
    body: Body<P>,
}

enum Body<P> {
    Answering(fn(&P, &Value) -> Result<Value, Error>),
    Deferring(fn(&P, Value, Call)),
}

impl<P> Method<P> {
    /// Answers when the function returns. `name` is "service.method", as in the manifest.
    pub const fn answering(name: &'static CStr, body: fn(&P, &Value) -> Result<Value, Error>) -> Self {
        Method { name, body: Body::Answering(body) }
    }

    /// Answers when it likes, from any thread, through the call that it is given.
    pub const fn deferring(name: &'static CStr, body: fn(&P, Value, Call)) -> Self {
        Method { name, body: Body::Deferring(body) }
    }
}

/// One running plugin. Two instances may live at the same time, so state lives here and not in statics.
pub trait Plugin: Sized + Send + Sync + 'static {
    /// As in the manifest.
    const NAME: &'static CStr;
    /// As in the manifest.
    const VERSION: &'static CStr;
    /// As in the manifest.
    const METHODS: &'static [Method<Self>];

    /// Makes an instance; nothing slow.
    fn create(host: Host) -> Result<Self, Error>;
    /// Slow work that needs nothing exclusive.
    fn prepare(&self) -> Result<(), Error> {
        Ok(())
    }
    /// Takes files, ports and the like.
    fn activate(&self) -> Result<(), Error> {
        Ok(())
    }
    /// Gives them back; no call is in flight.
    fn suspend(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Makes the library a plugin.
#[macro_export]
macro_rules! plugin {
    ($plugin:ty) => {
        /// The entry that the host looks for.
        #[no_mangle]
        pub extern "C" fn knap_plugin_draft() -> *const $crate::raw::Plugin {
            static TABLE: ::std::sync::OnceLock<$crate::SharedTable> = ::std::sync::OnceLock::new();
            TABLE.get_or_init(|| $crate::SharedTable($crate::Table::<$plugin>::make())).0
        }
    };
}

/// A table that is never changed, and so is safe to read from any thread.
#[doc(hidden)]
pub struct SharedTable(pub &'static raw::Plugin);
unsafe impl Send for SharedTable {}
unsafe impl Sync for SharedTable {}

/// The C table of a plugin.
#[doc(hidden)]
pub struct Table<P>(PhantomData<P>);

struct Instance<P> {
    host: Host,
    plugin: P,
}

impl<P: Plugin> Table<P> {
    /// Makes the table, which is never freed.
    pub fn make() -> &'static raw::Plugin {
        let methods: std::vec::Vec<*const raw::Method> = P::METHODS
            .iter()
            .map(|method| {
                let row = raw::Method {
                    size: size_of::<raw::Method>() as u32, reserved: 0, name: method.name.as_ptr(), call: Self::call,
                };
                std::boxed::Box::leak(std::boxed::Box::new(row)) as *const raw::Method
            })
            .collect();
        let methods = std::vec::Vec::leak(methods);
        std::boxed::Box::leak(std::boxed::Box::new(raw::Plugin {
            size: size_of::<raw::Plugin>() as u32,
            method_count: methods.len() as u32,
            name: P::NAME.as_ptr(),
            version: P::VERSION.as_ptr(),
            methods: methods.as_ptr(),
            create: Self::create,
            prepare: Self::prepare,
            activate: Self::activate,
            suspend: Self::suspend,
            destroy: Self::destroy,
            extension: Self::extension,
        }))
    }

    unsafe extern "C" fn create(host: *const raw::Host, instance: *mut *mut c_void) -> raw::Status {
        let host = Host(host);
        match catch_unwind(|| P::create(host)) {
            Ok(Ok(plugin)) => {
                *instance = std::boxed::Box::into_raw(std::boxed::Box::new(Instance { host, plugin })).cast();
                0
            }
            Ok(Err(error)) => {
                host.log(Level::Error, &error.message);
                error.code as i32
            }
            Err(_) => Code::Internal as i32,
        }
    }

    unsafe extern "C" fn call(instance: *mut c_void, request: *const raw::Request) {
        let (instance, request) = (&*instance.cast::<Instance<P>>(), &*request);
        let call = Call { host: instance.host, handle: request.call, has_ended: false };
        let body: &[u8] =
            if request.body.size == 0 { b"{}" } else { core::slice::from_raw_parts(request.body.data, request.body.size as usize) };
        // What panics drops the call, which ends it.
        let _ = catch_unwind(AssertUnwindSafe(move || {
            let input = match Value::parse(body) {
                Ok(input) => input,
                Err(error) => return call.fail(&Error::invalid(std::format!("the input is not JSON: {error}"))),
            };
            match P::METHODS[request.method as usize].body {
                Body::Answering(body) => {
                    let result = body(&instance.plugin, &input);
                    call.finish(result)
                }
                Body::Deferring(body) => body(&instance.plugin, input, call),
            }
        }));
    }

    unsafe fn hook(instance: *mut c_void, handle: raw::CallHandle, body: fn(&P) -> Result<(), Error>) {
        let instance = &*instance.cast::<Instance<P>>();
        let mut call = Call { host: instance.host, handle, has_ended: false };
        let _ = catch_unwind(AssertUnwindSafe(move || match body(&instance.plugin) {
            Ok(()) => call.end(0, &[], ""),
            Err(error) => call.fail(&error),
        }));
    }

    unsafe extern "C" fn prepare(instance: *mut c_void, call: raw::CallHandle) {
        Self::hook(instance, call, P::prepare)
    }
    unsafe extern "C" fn activate(instance: *mut c_void, call: raw::CallHandle) {
        Self::hook(instance, call, P::activate)
    }
    unsafe extern "C" fn suspend(instance: *mut c_void, call: raw::CallHandle) {
        Self::hook(instance, call, P::suspend)
    }

    unsafe extern "C" fn destroy(instance: *mut c_void) {
        let instance = std::boxed::Box::from_raw(instance.cast::<Instance<P>>());
        let _ = catch_unwind(AssertUnwindSafe(move || drop(instance)));
    }

    unsafe extern "C" fn extension(_instance: *mut c_void, _id: *const c_char) -> *const c_void {
        null()
    }
}
