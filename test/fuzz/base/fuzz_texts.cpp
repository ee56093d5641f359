// Numbers, positions and times as people, files and servers write them: what was understood is
// written again as something that means the same, and what goes to a terminal cannot garble it.
#include <ctime>

#include "chronos/base/clock.h"
#include "chronos/base/lsn.h"
#include "chronos/base/quote.h"
#include "chronos/base/stanza_name.h"
#include "chronos/base/text.h"
#include "chronos/base/utf8.h"
#include "fuzz.h"

namespace {

using namespace chronos;

void check_numbers(std::string_view text) {
    if (const auto number = parse_uint(text)) {
        require(parse_uint(std::to_string(*number)) == number);
        require(!format_size(*number).empty());
        // Any time of a damaged file is shown somewhere.
        format_local_time(static_cast<UnixTime>(*number));
        format_label_time(static_cast<UnixTime>(*number));
    }
    if (const auto lsn = Lsn::parse(text)) require(Lsn::parse(lsn->str()) == lsn);
    if (const auto bytes = from_hex(text)) require(to_hex(*bytes) == to_lower(text));
}

void check_time(std::string_view text) {
    const auto time_us = parse_time_us(text);
    if (!time_us) return;
    const std::time_t seconds = *time_us / 1000000;
    std::tm parts{};
    require(gmtime_r(&seconds, &parts) != nullptr);
    char utc[64];
    utc[std::strftime(utc, sizeof utc, "%Y-%m-%d %H:%M:%S+00", &parts)] = '\0';
    require(parse_time_us(utc) == *time_us / 1000000 * 1000000);
}

void check_shown(std::string_view text) {
    const std::string shown = printable(text);
    require(shown.size() <= 256 + 3);
    for (std::string_view rest = shown; !rest.empty();) {
        const std::size_t length = utf8_length(rest);
        require(length > 0 && static_cast<unsigned char>(rest.front()) >= ' ');
        rest.remove_prefix(length);
    }
    require(printable(shown, shown.size()) == shown);
    require(one_line(text).find('\n') == std::string::npos);
    stanza_name_problem(text);
    if (!is_quotable(text)) return;
    require(!shell_word(text).empty() && !server_command_word(text).empty());
    require(conf_value(text).find('\n') == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    check_numbers(text);
    check_time(text);
    check_shown(text);
    return 0;
}
