#include <knap.hpp>

#include <sstream>

/// One running plugin. Two may live at the same time, so there are no globals.
class words {
   knap::host host;

public:
   static constexpr const char *name = "@name@", *version = "0.1.0";

   explicit words(knap::host host) : host(host) {}

   /// Serves @service@.count_words. May run on several threads at once.
   knap::json count_words(const knap::json &input) {
      std::istringstream text(input["text"].text());
      int64_t count = 0;
      for (std::string word; text >> word;) count++;
      return knap::json::object({{"words", count}});
   }
};

// As in manifest.json.
KNAP_PLUGIN(words, knap::method<&words::count_words>("@service@.count_words"))
