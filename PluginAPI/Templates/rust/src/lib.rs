use knap::json::Value;
use knap::{Error, Host, Method, Plugin};
use std::ffi::CStr;

/// One running plugin. Two may live at the same time, so there are no statics.
pub struct Words;

impl Plugin for Words {
    // As in manifest.json.
    const NAME: &'static CStr = c"@name@";
    const VERSION: &'static CStr = c"0.1.0";
    const METHODS: &'static [Method<Self>] = &[Method::answering(c"@service@.count_words", Words::count_words)];

    fn create(_host: Host) -> Result<Self, Error> {
        Ok(Words)
    }
}

impl Words {
    /// Serves @service@.count_words. May run on several threads at once.
    fn count_words(&self, input: &Value) -> Result<Value, Error> {
        let text = input["text"]
            .text()
            .ok_or_else(|| Error::invalid("the argument 'text' must be a text; give the text to count"))?;
        Ok(Value::object([("words", (text.split_whitespace().count() as i64).into())]))
    }
}

knap::plugin!(Words);
