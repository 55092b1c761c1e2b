#pragma once
/// \file
/// Knap plugins in C++17: one header, over the C headers.
///
///     struct greeter {
///        static constexpr const char *name = "greeter", *version = "0.1.0";
///        explicit greeter(knap::host host);
///        knap::json hello(const knap::json &input) { return knap::json::object({{"text", "Hello, " + input["name"].text()}}); }
///     };
///     KNAP_PLUGIN(greeter, knap::method<&greeter::hello>("com.example.greeter.hello"))
///
/// A method is a member function: `json (const json &)` answers when it returns, `void (call, json)` answers when it
/// likes, from any thread. Exceptions end at the boundary: `knap::error` becomes its status, all else INTERNAL. Members
/// `void prepare()`, `void activate()` and `void suspend()` are called where they exist. Methods may run on several
/// threads at once.

#include <knap-sdk/json.h>
#include <knap/ext/log.h>
#include <knap/knap.h>

#include <exception>
#include <initializer_list>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace knap {

/// A failure that the caller is told: what happened, to what, and what to do.
class error : public std::exception {
   knap_status_t code;
   std::string   text;

public:
   error(knap_status_t status, std::string message) : code(status), text(std::move(message)) {}
   knap_status_t status() const noexcept { return code; }
   const char *what() const noexcept override { return text.c_str(); }
};

/// A JSON value (RFC 8259). What is absent reads as null; a value of another type than asked for throws INVALID_ARGUMENT.
class json {
public:
   using member = std::pair<std::string, json>;
   enum class kind { null, boolean, number, text, array, object };

   json() = default;
   json(std::nullptr_t) {}
   json(bool value) : type(kind::boolean), truth(value) {}
   json(double value) : type(kind::number), real(value) {}
   template <class Integer, std::enable_if_t<std::is_integral_v<Integer> && !std::is_same_v<Integer, bool>, int> = 0>
   json(Integer value) : type(kind::number), real(double(value)), whole(int64_t(value)), is_whole(true) {}
   json(std::string value) : type(kind::text), string(std::move(value)) {}
   json(std::string_view value) : json(std::string(value)) {}
   json(const char *value) : json(std::string(value)) {}

   static json array(std::vector<json> elements = {}) {
      json value;
      value.type = kind::array;
      for (auto &element : elements) value.members.emplace_back(std::string(), std::move(element));
      return value;
   }
   static json object(std::vector<member> members = {}) {
      json value;
      value.type = kind::object;
      value.members = std::move(members);
      return value;
   }

   kind what() const { return type; }
   bool is_null() const { return type == kind::null; }
   bool boolean() const { return expect(kind::boolean, "true or false"), truth; }
   double number() const { return expect(kind::number, "a number"), real; }
   int64_t integer() const {
      if (expect(kind::number, "a whole number"); !is_whole) throw error(KNAP_INVALID_ARGUMENT, "a whole number is needed");
      return whole;
   }
   const std::string &text() const { return expect(kind::text, "a text"), string; }
   size_t size() const { return members.size(); }

   /// The member of an object; null where there is none.
   const json &operator[](std::string_view name) const {
      static const json none;
      for (auto found = members.rbegin(); found != members.rend(); ++found)
         if (type == kind::object && found->first == name) return found->second;
      return none;
   }
   /// The element of an array; null beyond its end.
   const json &operator[](size_t index) const {
      static const json none;
      return type == kind::array && index < members.size() ? members[index].second : none;
   }
   /// An object's members, or an array's elements with empty names, in their order.
   auto begin() const { return members.begin(); }
   auto end() const { return members.end(); }

   void add(json element) { members.emplace_back(std::string(), std::move(element)); }
   void set(std::string name, json value) {
      for (auto &each : members)
         if (each.first == name) return void(each.second = std::move(value));
      members.emplace_back(std::move(name), std::move(value));
   }

   /// Throws INVALID_ARGUMENT for what is no JSON. No bytes are an empty object, as the request of a method without input.
   static json parse(knap_bytes_t bytes) {
      if (!bytes.size) return object();
      knap_json_t value = knap_json_parse(bytes);
      if (!value.at) throw error(KNAP_INVALID_ARGUMENT, "the input is not JSON");
      return json(value);
   }

   std::string serialized() const {
      knap_json_writer_t writer{};
      write(writer);
      std::string text(writer.data ? writer.data : "", writer.has_failed ? 0 : size_t(writer.size));
      free(writer.data);
      if (writer.has_failed) throw std::bad_alloc();
      return text;
   }

private:
   kind                type = kind::null;
   bool                truth = false;
   double              real = 0;
   int64_t             whole = 0;
   bool                is_whole = false;
   std::string         string;
   std::vector<member> members;

   static std::string string_of(knap_json_t value) {
      std::string text(size_t(knap_json_text(value, nullptr, 0)), '\0');
      knap_json_text(value, text.data(), text.size() + 1);
      return text;
   }

   explicit json(knap_json_t value) {
      switch (*value.at) {
      case '{': case '[': {
         type = *value.at == '{' ? kind::object : kind::array;
         knap_json_t name{}, element{};
         while (knap_json_next(value, &name, &element))
            members.emplace_back(type == kind::object ? string_of(name) : std::string(), json(element));
         break;
      }
      case '"':
         type = kind::text;
         string = string_of(value);
         break;
      case 't': case 'f':
         type = kind::boolean;
         truth = *value.at == 't';
         break;
      case 'n': break;
      default:
         type = kind::number;
         if (!knap_json_number(value, &real)) throw error(KNAP_INVALID_ARGUMENT, "a number in the input is too large");
         is_whole = knap_json_integer(value, &whole);
      }
   }

   void expect(kind wanted, const char *name) const {
      if (type != wanted) throw error(KNAP_INVALID_ARGUMENT, std::string(name) + " is needed");
   }

   void write(knap_json_writer_t &out) const {
      switch (type) {
      case kind::null: knap_json_begin_value(&out), knap_json_raw(&out, "null", 4); break;
      case kind::boolean: knap_json_put_boolean(&out, truth); break;
      case kind::number: is_whole ? knap_json_put_integer(&out, whole) : knap_json_put_number(&out, real); break;
      case kind::text: knap_json_put_text_of(&out, string.data(), string.size()); break;
      case kind::array: case kind::object:
         knap_json_open(&out, type == kind::array ? '[' : '{');
         for (auto &each : members) {
            if (type == kind::object) {
               knap_json_put_text_of(&out, each.first.data(), each.first.size());
               knap_json_raw(&out, ":", 1);
               out.needs_comma = false;
            }
            each.second.write(out);
         }
         knap_json_close(&out, type == kind::array ? ']' : '}');
      }
   }
};

/// The host, as an instance sees it. Copies are the same host; valid until the instance is destroyed.
class host {
   const knap_host_t *raw;

public:
   explicit host(const knap_host_t *pointer) : raw(pointer) {}
   const knap_host_t *pointer() const { return raw; }

   /// The host's table for an extension, such as `extension<knap_host_log_t>(KNAP_EXT_LOG)`; null where it has none.
   template <class Table> const Table *extension(const char *id) const {
      return static_cast<const Table *>(raw->extension(raw, id));
   }

   /// Writes a record to the host's log. Any thread.
   void log(int32_t level, std::string_view message) const {
      auto table = extension<knap_host_log_t>(KNAP_EXT_LOG);
      if (table && table->enabled(raw, level)) table->write(raw, level, 0, {message.data(), message.size()}, nullptr, 0);
   }
};

/// A call that this plugin serves. It ends once: by `answer`, `fail`, or with INTERNAL when it goes away unanswered.
class call {
   const knap_host_t *raw = nullptr;
   knap_call_t        handle = 0;

   void end(knap_status_t status, std::string_view body, std::string_view message) noexcept {
      if (!raw) return;
      knap_result_t result{};
      result.size = sizeof result;
      result.status = status;
      result.body = {reinterpret_cast<const uint8_t *>(body.data()), body.size()};
      result.message = {message.data(), message.size()};
      raw->calls->complete(std::exchange(raw, nullptr), handle, &result);
   }

public:
   call(const knap_host_t *host, knap_call_t number) : raw(host), handle(number) {}
   call(call &&other) noexcept : raw(std::exchange(other.raw, nullptr)), handle(other.handle) {}
   call &operator=(call &&other) noexcept {
      if (this != &other) {
         end(KNAP_INTERNAL, {}, "the plugin did not answer");
         raw = std::exchange(other.raw, nullptr);
         handle = other.handle;
      }
      return *this;
   }
   ~call() { end(KNAP_INTERNAL, {}, "the plugin did not answer"); }

   knap_call_t number() const { return handle; }
   void answer(const json &value) { end(KNAP_OK, value.serialized(), {}); }
   void done() noexcept { end(KNAP_OK, {}, {}); }
   void fail(knap_status_t status, std::string_view message) noexcept { end(status, {}, message); }

   /// Whether the caller has gone or its time is over: stop work, and end the call.
   bool is_cancelled() const {
      knap_call_info_t info{};
      info.size = sizeof info;
      return !raw || raw->calls->info(raw, handle, &info) != KNAP_OK || (info.flags & KNAP_CALL_CANCELLED);
   }
};

/// What is between the C table and the plugin's class.
namespace boundary {

template <class Plugin> struct instance {
   const knap_host_t *host;
   Plugin             plugin;
   explicit instance(const knap_host_t *pointer) : host(pointer), plugin(knap::host(pointer)) {}
};

/// Runs the body; what it throws ends the call.
template <class Body> void guarded(call &call, Body body) noexcept {
   try {
      body();
   } catch (const error &failure) {
      call.fail(failure.status(), failure.what());
   } catch (const std::exception &failure) {
      call.fail(KNAP_INTERNAL, failure.what());
   } catch (...) {
      call.fail(KNAP_INTERNAL, "an exception that is no std::exception");
   }
}

template <class Plugin> void serve(json (Plugin::*body)(const json &), Plugin &plugin, call call, knap_bytes_t input) {
   guarded(call, [&] { call.answer((plugin.*body)(json::parse(input))); });
}

/// A call that was moved away answers for itself; what throws before that answers here.
template <class Plugin> void serve(void (Plugin::*body)(call, json), Plugin &plugin, call call, knap_bytes_t input) {
   json value;
   bool isRead = false;
   guarded(call, [&] { value = json::parse(input), isRead = true; });
   if (!isRead) return;
   try {
      (plugin.*body)(std::move(call), std::move(value));
   } catch (...) {
      // The call is answered by whoever holds it: its destructor says INTERNAL.
   }
}

template <class Class, class Result, class... Arguments> Class class_of(Result (Class::*)(Arguments...));

#define KNAP_HOOK(hook) \
   template <class Plugin> auto hook(Plugin &plugin, int) -> decltype(plugin.hook(), void()) { plugin.hook(); } \
   template <class Plugin> void hook(Plugin &, long) {}
KNAP_HOOK(prepare)
KNAP_HOOK(activate)
KNAP_HOOK(suspend)
#undef KNAP_HOOK

} // namespace boundary

/// A row of the plugin's table: `method<&greeter::hello>("com.example.greeter.hello")`, named as in the manifest.
template <auto Body> constexpr knap_method_t method(const char *name) {
   using plugin = decltype(boundary::class_of(Body));
   return {
      sizeof(knap_method_t), 0, name, [](void *pointer, const knap_request_t *request) {
         auto &self = *static_cast<boundary::instance<plugin> *>(pointer);
         boundary::serve(Body, self.plugin, call(self.host, request->call), request->body);
      }};
}

/// The plugin's table, for `KNAP_PLUGIN`.
template <class Plugin, size_t Count>
knap_plugin_t table(const knap_method_t *const (&methods)[Count]) {
   using instance = boundary::instance<Plugin>;
   return {
      sizeof(knap_plugin_t), uint32_t(Count), Plugin::name, Plugin::version, methods,
      [](const knap_host_t *host, void **made) -> knap_status_t {
         try {
            *made = new instance(host);
            return KNAP_OK;
         } catch (const error &failure) {
            return failure.status() == KNAP_OK ? KNAP_INTERNAL : failure.status();
         } catch (const std::bad_alloc &) {
            return KNAP_RESOURCE_EXHAUSTED;
         } catch (...) {
            return KNAP_INTERNAL;
         }
      },
#define KNAP_HOOK(hook) \
   [](void *pointer, knap_call_t number) { \
      auto &self = *static_cast<instance *>(pointer); \
      call ending(self.host, number); \
      boundary::guarded(ending, [&] { boundary::hook(self.plugin, 0), ending.done(); }); \
   }
      KNAP_HOOK(prepare), KNAP_HOOK(activate), KNAP_HOOK(suspend),
#undef KNAP_HOOK
      [](void *pointer) { delete static_cast<instance *>(pointer); },
      [](void *, const char *) -> const void * { return nullptr; }};
}

} // namespace knap

/// Makes the library a plugin: the class, then its methods.
#define KNAP_PLUGIN(Class, ...) \
   KNAP_EXPORT const knap_plugin_t *knap_plugin_draft(void) { \
      static const knap_method_t methods[] = {__VA_ARGS__}; \
      static const auto pointers = [] { \
         struct { const knap_method_t *list[sizeof methods / sizeof *methods]; } all{}; \
         for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) all.list[i] = &methods[i]; \
         return all; \
      }(); \
      static const knap_plugin_t plugin = knap::table<Class>(pointers.list); \
      return &plugin; \
   }
