#include "chronos/db/conninfo.h"

#include <libpq-fe.h>

#include <memory>

#include "chronos/base/text.h"

namespace chronos::db {
namespace {

struct FreeConninfo {
    void operator()(PQconninfoOption* options) const noexcept { PQconninfoFree(options); }
};

}  // namespace

Result<ConnectionParameters> parse_conninfo(const std::string& text) {
    const std::unique_ptr<PQconninfoOption, FreeConninfo> options(
        PQconninfoParse(text.c_str(), nullptr));
    if (options == nullptr)
        return Error(ErrorKind::option_invalid_value, "it is no connection string of libpq")
            .with_hint(
                "As in primary_conninfo: 'host=pg1 port=5432 user=replicator', or "
                "'postgresql://replicator@pg1:5432'.");
    ConnectionParameters parameters;
    for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option)
        if (option->val != nullptr && *option->val != '\0')
            parameters[option->keyword] = option->val;
    return parameters;
}

ConnectionParameters without_streaming(ConnectionParameters parameters) {
    for (const char* name :
         {"dbname", "replication", "options", "application_name", "fallback_application_name"})
        parameters.erase(name);
    return parameters;
}

std::string conninfo_place(const ConnectionParameters& parameters) {
    std::string place;
    for (const char* name : {"service", "host", "hostaddr", "port", "user"})
        if (const auto given = parameters.find(name); given != parameters.end())
            place += (place.empty() ? "" : " ") + given->first + "=" + printable(given->second);
    return place.empty() ? "the default of libpq" : place;
}

}  // namespace chronos::db
