// The record of WAL that went without being stored, as a crash or another hand may have left it:
// each line is read or passed over, what was read is written as what is read as the same, and no
// segment that a line names is outside of the gaps.
#include <algorithm>

#include "chronos/base/text.h"
#include "fuzz.h"
#include "ops/archive/dropped_record.h"

namespace {

using namespace chronos;
using namespace chronos::ops::archive;

bool same(const DroppedSegment& a, const DroppedSegment& b) {
    return a.time == b.time && a.cluster.system_id == b.cluster.system_id &&
           a.cluster.version == b.cluster.version && a.segment_size == b.segment_size &&
           a.segment == b.segment;
}

using Gaps = decltype(gaps_of(""));

bool is_in(const Gaps& gaps, const repo::ClusterIdentity& cluster, const std::string& segment) {
    return std::ranges::any_of(gaps, [&](const auto& at) {
        return at.first.system_id == cluster.system_id && at.second.first <= segment &&
               segment <= at.second.last;
    });
}

bool same_gaps(const Gaps& a, const Gaps& b) {
    return std::ranges::equal(a, b, [](const auto& x, const auto& y) {
        return x.first.system_id == y.first.system_id && x.first.version == y.first.version &&
               x.second == y.second;
    });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const Gaps gaps = gaps_of(text);
    std::string written;
    std::size_t count = 0;
    for (const std::string_view line : split(text, '\n')) {
        const auto dropped = parse_dropped(line);
        if (!dropped) continue;
        ++count;
        const std::string again = format_dropped(*dropped);
        require(again.ends_with('\n'));
        const auto parsed = parse_dropped(std::string_view(again).substr(0, again.size() - 1));
        require(parsed && same(*parsed, *dropped));
        require(is_in(gaps, dropped->cluster, dropped->segment));
        written += again;
    }
    require(gaps.size() <= count && gaps.empty() == (count == 0));
    for (const auto& [cluster, gap] : gaps) require(gap.first <= gap.last);
    require(same_gaps(gaps_of(written), gaps));

    // What a crash has cut off says nothing else than the whole: fewer lines, and no other ones.
    if (written.empty()) return 0;
    const std::size_t cut = data[0] * written.size() / 256;
    const Gaps torn = gaps_of(std::string_view(written).substr(0, cut));
    for (const auto& [cluster, gap] : torn)
        require(is_in(gaps, cluster, gap.first) && is_in(gaps, cluster, gap.last));
    // And nothing is lost when a process goes on behind the cut, or writes all of it once more.
    const Gaps twice = gaps_of(written + written);
    for (const auto& [cluster, gap] : gaps)
        require(is_in(twice, cluster, gap.first) && is_in(twice, cluster, gap.last));
    return 0;
}
