// Where a recovery is to end, as people and other programs write it: refused, or understood as one
// moment or place, which is said again as the same.
#include "chronos/ops/restore/restore.h"
#include "fuzz.h"
#include "ops/restore/target.h"

namespace {

using namespace chronos;
using namespace chronos::ops::restore;

constexpr UnixTime kNow = 1796000000;

void check_time(std::string_view text) {
    const auto target = parse_time_target(text, kNow);
    if (!target) return;
    require(!target->setting.empty() &&
            target->setting.find_first_of("'\n\\") == std::string::npos);
    // What the server is told is the moment that the backup was chosen for.
    const auto again = parse_time_target(target->setting, kNow);
    require(again && again->instant_us == target->instant_us);
    require(parse_time_target(format_instant(target->instant_us), kNow)->instant_us ==
            target->instant_us);
}

void check_request(std::string_view text, std::uint8_t kind) {
    constexpr RecoveryType kTypes[] = {RecoveryType::time, RecoveryType::xid, RecoveryType::lsn,
                                       RecoveryType::name, RecoveryType::default_};
    RestoreRequest request;
    request.type = kTypes[kind % std::size(kTypes)];
    request.target = text;
    request.target_timeline = (kind & 0x40) != 0 ? text : std::string_view();
    if ((kind & 0x80) != 0) request.recovery_options.emplace(text, text);
    const bool accepted = static_cast<bool>(check_restore_request(request));
    if (request.type == RecoveryType::time) {
        const auto target = judge_time_target(request, kNow);
        if (target) check_time(target->setting);
    }
    if (accepted && request.type == RecoveryType::lsn) require(Lsn::parse(text).has_value());
    if (accepted && !request.target_timeline.empty() && text != "current" && text != "latest")
        require(static_cast<bool>(parse_timeline(text)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input(data, size);
    const std::uint8_t kind = input.byte();
    check_time(input.rest());
    check_request(input.rest(), kind);
    if (const auto timeline = parse_timeline(input.rest()))
        require(*parse_timeline(std::to_string(*timeline)) == *timeline);
    const auto xid = input.number<std::uint64_t>();
    const auto next = input.number<std::uint64_t>();
    (void)judge_xid_epoch(xid, next, input.number<std::uint32_t>());
    return 0;
}
