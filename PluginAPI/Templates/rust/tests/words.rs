use knap::json::Value;
use knap::testing::TestHost;
use knap::Code;
use @identifier@::Words;

#[test]
fn words_are_counted() {
    let host = TestHost::open::<Words>().unwrap();
    for (text, words) in [("two words", 2), (" tabs\tand\nlines  ", 3), ("", 0)] {
        let answer = host.call("@service@.count_words", &Value::object([("text", text.into())]));
        assert_eq!(answer, Ok(Value::object([("words", words.into())])), "{text:?}");
    }
}

#[test]
fn what_is_no_text_is_refused() {
    let host = TestHost::open::<Words>().unwrap();
    for body in ["{}", "{\"text\":1}", "no JSON"] {
        let error = host.call_with("@service@.count_words", body.as_bytes()).unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument, "{body}");
    }
}
