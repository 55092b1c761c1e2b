//! The C ABI as it is (`knap/*.h`, where every function's meaning is told). `Tests/abi` holds it to the headers.
#![allow(missing_docs)]

use core::ffi::{c_char, c_void};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Text {
    pub data: *const c_char,
    pub size: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes {
    pub data: *const u8,
    pub size: u64,
}

/// One end of a call; 0 is none.
pub type CallHandle = u64;
pub type Status = i32;

#[repr(C)]
pub struct Host {
    pub size: u32,
    pub abi: u32,
    pub calls: *const Calls,
    pub buffers: *const Buffers,
    pub extension: unsafe extern "C" fn(*const Host, *const c_char) -> *const c_void,
}

#[repr(C)]
pub struct Buffer {
    opaque: [u8; 0],
}

#[repr(C)]
pub struct Buffers {
    pub size: u32,
    pub reserved: u32,
    pub create: unsafe extern "C" fn(*const Host, u64, *mut *mut u8) -> *mut Buffer,
    pub keep: unsafe extern "C" fn(*const Host, Bytes, *mut Buffer, *mut Bytes) -> *mut Buffer,
    pub release: unsafe extern "C" fn(*const Host, *mut Buffer),
}

pub const ITEM_DATA: u32 = 1;
pub const ITEM_PROGRESS: u32 = 2;
pub const ITEM_LOG: u32 = 3;
pub const ITEM_REQUEST: u32 = 4;
pub const ITEM_REPLY: u32 = 5;

#[repr(C)]
pub struct Item {
    pub size: u32,
    pub kind: u32,
    pub id: u64,
    pub body: Bytes,
    pub buffer: *mut Buffer,
}

#[repr(C)]
pub struct Request {
    pub size: u32,
    pub method: u32,
    pub call: CallHandle,
    pub body: Bytes,
    pub buffer: *mut Buffer,
}

#[repr(C)]
pub struct CallResult {
    pub size: u32,
    pub status: Status,
    pub body: Bytes,
    pub buffer: *mut Buffer,
    pub content_type: Text,
    pub message: Text,
}

#[repr(C)]
pub struct Callee {
    pub size: u32,
    pub reserved: u32,
    pub item: unsafe extern "C" fn(*mut c_void, CallHandle, *const Item),
    pub half_close: unsafe extern "C" fn(*mut c_void, CallHandle),
    pub credit: unsafe extern "C" fn(*mut c_void, CallHandle),
    pub cancel: unsafe extern "C" fn(*mut c_void, CallHandle, Status),
    pub closed: unsafe extern "C" fn(*mut c_void),
}

pub const CALL_INPUT_OPEN: u32 = 1;
pub const CALL_CANCELLED: u32 = 2;

#[repr(C)]
pub struct CallInfo {
    pub size: u32,
    pub flags: u32,
    pub deadline_ns: u64,
    pub principal: Text,
    pub trace: Text,
    pub caller: Text,
    pub method: Text,
}

#[repr(C)]
pub struct Calls {
    pub size: u32,
    pub reserved: u32,
    pub complete: unsafe extern "C" fn(*const Host, CallHandle, *const CallResult) -> Status,
    pub listen: unsafe extern "C" fn(*const Host, CallHandle, *const Callee, *mut c_void) -> Status,
    pub send: unsafe extern "C" fn(*const Host, CallHandle, *const Item) -> Status,
    pub half_close: unsafe extern "C" fn(*const Host, CallHandle) -> Status,
    pub grant: unsafe extern "C" fn(*const Host, CallHandle, u32) -> Status,
    pub cancel: unsafe extern "C" fn(*const Host, CallHandle) -> Status,
    pub info: unsafe extern "C" fn(*const Host, CallHandle, *mut CallInfo) -> Status,
    pub wait: unsafe extern "C" fn(*const Host, CallHandle) -> Status,
}

#[repr(C)]
pub struct Method {
    pub size: u32,
    pub reserved: u32,
    pub name: *const c_char,
    pub call: unsafe extern "C" fn(*mut c_void, *const Request),
}

#[repr(C)]
pub struct Plugin {
    pub size: u32,
    pub method_count: u32,
    pub name: *const c_char,
    pub version: *const c_char,
    pub methods: *const *const Method,
    pub create: unsafe extern "C" fn(*const Host, *mut *mut c_void) -> Status,
    pub prepare: unsafe extern "C" fn(*mut c_void, CallHandle),
    pub activate: unsafe extern "C" fn(*mut c_void, CallHandle),
    pub suspend: unsafe extern "C" fn(*mut c_void, CallHandle),
    pub destroy: unsafe extern "C" fn(*mut c_void),
    pub extension: unsafe extern "C" fn(*mut c_void, *const c_char) -> *const c_void,
}

/// `knap/ext/log.h`.
#[repr(C)]
pub struct HostLog {
    pub size: u32,
    pub reserved: u32,
    pub enabled: unsafe extern "C" fn(*const Host, i32) -> i32,
    pub write: unsafe extern "C" fn(*const Host, i32, CallHandle, Text, *const LogField, u32),
}

#[repr(C)]
pub struct LogField {
    pub key: Text,
    pub value: Text,
}
