#include "chronos/repo/side/hold.h"

#include <optional>

#include "chronos/base/text.h"
#include "chronos/repo/proven_text.h"
#include "chronos/repo/side/mount_hold.h"

namespace chronos::repo {
namespace {

std::string hold_path(const std::string& stanza) {
    return "chronos/" + stanza + "/hold";
}

/// "<seconds since 1970> <reason>"
Hold parse_hold(const std::string& label, std::string_view text) {
    const std::size_t blank = text.find(' ');
    Hold hold{label, {}, 0};
    hold.since = parse_unix_time(text.substr(0, blank)).value_or(0);
    if (blank != std::string_view::npos) hold.reason = trim(text.substr(blank + 1));
    return hold;
}

}  // namespace

Result<std::vector<Hold>> list_holds(const Repository& repository, const std::string& stanza,
                                     const std::string& pass) {
    std::vector<Hold> holds;
    const HeldNames names = CHRONOS_TRY(list_held_names(repository, stanza));
    for (const std::string& label : names.labels) {
        const std::string name = hold_path(stanza) + "/" + label;
        holds.push_back(
            parse_hold(label, CHRONOS_TRY_DOING(read_text(repository, name, pass),
                                                "read hold of backup '" + label + "'")));
    }
    return holds;
}

Result<> save_hold(const Repository& repository, const std::string& stanza, const Hold& hold,
                   const std::string& pass) {
    const auto parse = [&](std::string_view text) {
        return std::optional(parse_hold(hold.label, text));
    };
    return write_text(repository, hold_path(stanza) + "/" + hold.label,
                      std::to_string(hold.since) + " " + hold.reason, pass,
                      reads_back_as(hold, parse));
}

Result<> remove_hold(const Repository& repository, const std::string& stanza,
                     const std::string& label) {
    return repository.storage->remove(hold_path(stanza) + "/" + label);
}

}  // namespace chronos::repo
