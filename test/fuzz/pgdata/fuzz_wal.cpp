// WAL as a damaged disk, a crash or a stranger's archive might hold it: whoever looks into it comes
// to an end, does not depend on how it was read, and names no place that it was not shown.
#include <algorithm>

#include "chronos/pgdata/server_parameters.h"
#include "chronos/pgdata/wal.h"
#include "chronos/pgdata/wal_commits.h"
#include "chronos/pgdata/wal_extent.h"
#include "chronos/pgdata/wal_targets.h"
#include "fuzz.h"
#include "pgdata/crc32c.h"
#include "pgdata/little_endian.h"
#include "pgdata/wal_format.h"

namespace {

using namespace chronos;
using namespace chronos::pgdata;

constexpr std::uint64_t kStart = std::uint64_t{5} << 24;
constexpr Timeline kTimeline = 3;
/// Every place where a record may begin is looked at: more would only be slow.
constexpr std::size_t kRawMax = 3 * kWalPageSize;

/// What the input says of one record.
struct RecordPlan {
    std::uint8_t manager = 0;
    std::uint8_t info = 0;
    std::uint32_t xid = 0;
    bool intact = true;
    std::string data;
};

/// Writes pages and records with the sums and positions that make them WAL: what bytes that were
/// found by chance never get right.
class Writer {
public:
    void add(const RecordPlan& plan) {
        at_ = wal_record::align(at_);
        if (at_ % kWalPageSize == 0) begin_page(0);
        std::string record(wal_record::kHeaderSize, '\0');
        put(record, 0, static_cast<std::uint32_t>(record.size() + plan.data.size()));
        put(record, wal_record::kXidAt, plan.xid);
        put(record, wal_record::kPreviousAt, previous_);
        record[wal_record::kInfoAt] = static_cast<char>(plan.info);
        record[wal_record::kManagerAt] = static_cast<char>(plan.manager);
        record += plan.data;
        const io::Bytes bytes = io::bytes(record);
        const std::uint32_t crc =
            crc32c(bytes.subspan(wal_record::kHeaderSize), bytes.first(wal_record::kCrcAt));
        put(record, wal_record::kCrcAt, plan.intact ? crc : ~crc);
        previous_ = kStart + at_;
        append(record);
    }
    /// Whole pages, of which the rest is zeros.
    std::string take() && {
        content_.resize((content_.size() + kWalPageSize - 1) / kWalPageSize * kWalPageSize);
        return std::move(content_);
    }
    std::size_t size() const { return content_.size(); }

private:
    template <class Number>
    static void put(std::string& to, std::size_t at, Number value) {
        store(std::as_writable_bytes(std::span(to)), at, value);
    }
    void begin_page(std::size_t rest) {
        const bool first = at_ == 0;
        const std::size_t size = first ? wal_page::kLongHeaderSize : wal_page::kHeaderSize;
        content_.resize(at_ + size);
        put(content_, at_ + wal_page::kMagicAt, std::uint16_t{0xD110});
        put(content_, at_ + wal_page::kFlagsAt,
            static_cast<std::uint16_t>((first ? 2 : 0) | (rest > 0 ? 1 : 0)));
        put(content_, at_ + wal_page::kTimelineAt, kTimeline);
        put(content_, at_ + wal_page::kAddressAt, kStart + at_);
        put(content_, at_ + wal_page::kRemainderAt, static_cast<std::uint32_t>(rest));
        if (first) {
            put(content_, at_ + wal_page::kSegmentSizeAt, std::uint32_t{1} << 24);
            put(content_, at_ + wal_page::kPageSizeAt, static_cast<std::uint32_t>(kWalPageSize));
        }
        at_ += size;
    }
    void append(std::string_view bytes) {
        content_.resize(at_);
        while (!bytes.empty()) {
            if (at_ % kWalPageSize == 0) begin_page(bytes.size());
            const std::size_t part = std::min(bytes.size(), kWalPageSize - at_ % kWalPageSize);
            content_.append(bytes.substr(0, part));
            at_ += part;
            bytes.remove_prefix(part);
        }
    }

    std::string content_;
    std::size_t at_ = 0;
    std::uint64_t previous_ = kStart - 64;
};

/// Records first, each with a length of its data; then a few bytes somewhere are made others.
std::string make_wal(Input& input) {
    Writer writer;
    const std::size_t damages = input.byte() % 4;
    struct Damage {
        std::uint32_t at = 0;
        std::uint64_t value = 0;
    };
    Damage damage[3];
    for (std::size_t i = 0; i < damages; ++i) {
        damage[i].at = input.number<std::uint32_t>() % (3 * kWalPageSize);
        damage[i].value = input.number<std::uint64_t>();
    }
    while (!input.empty() && writer.size() < 6 * kWalPageSize) {
        RecordPlan plan;
        const std::uint8_t kind = input.byte();
        plan.manager = kind & 3;
        plan.intact = (kind & 4) == 0;
        plan.info = input.byte();
        plan.xid = input.number<std::uint16_t>();
        const std::size_t size = input.byte();
        plan.data = input.take(size);
        // Data of some kB without as many bytes of input.
        if ((kind & 8) != 0) plan.data.resize(plan.data.size() + size * 64, 'x');
        writer.add(plan);
    }
    std::string content = std::move(writer).take();
    for (std::size_t i = 0; i < damages; ++i)
        if (damage[i].at + sizeof damage[i].value <= content.size())
            store(std::as_writable_bytes(std::span(content)), damage[i].at, damage[i].value);
    return content;
}

bool is_same(const WalExtent& a, const WalExtent& b) {
    return a.end == b.end && a.last == b.last && a.whole == b.whole && a.flaw == b.flaw &&
           a.first == b.first && a.before_first == b.before_first && a.last_begun == b.last_begun &&
           a.gives_up_record == b.gives_up_record;
}

void check_extent(io::Bytes content, WalReader::Depth depth, std::size_t chunk) {
    const WalExtent whole = wal_extent(content, depth, kTimeline);
    WalReader reader(depth, kTimeline);
    for (io::Bytes rest = content; !rest.empty(); rest = rest.subspan(std::min(chunk, rest.size())))
        require(static_cast<bool>(reader.write(rest.first(std::min(chunk, rest.size())))));
    require(is_same(whole, reader.extent()));
    require(whole.flaw.empty() || !whole.whole);
    joint_flaw(Lsn{kStart}, whole);
    const auto header = parse_wal_header(content);
    if (!header || content.size() < kWalPageSize) return;
    const std::uint64_t begin = header->page_address.value;
    require(whole.end.value - begin <= content.size());
    require(whole.last.value == 0 || whole.last.value - begin < whole.end.value - begin);
}

void check_commits(io::Bytes content) {
    const Lsn start{kStart};
    const Lsn end{kStart + content.size()};
    const auto commit = last_commit(content, start);
    if (commit) {
        require(commit->begin >= start && commit->begin < commit->end && commit->end <= end);
        const auto before = last_commit_before(content, start, commit->begin);
        require(!before || before->end <= commit->begin);
    }
    const auto record = last_record(content, start);
    const auto begun = last_begun(content, start);
    require(!record || (*record >= start && *record < end));
    require(!begun || (*begun >= start && *begun < end));
    require(!record || (begun && *begun >= *record));
    wal_before(content, start, Lsn{kStart + content.size() / 2});
    if (content.size() >= 2 * kWalPageSize)
        is_written_behind(content.first(2 * kWalPageSize), start, Lsn{kStart + 4096}, 1u << 24);
}

void check_targets(io::Bytes content) {
    const auto found = find_target_in_wal(content, {.xid = 0x101, .name = "here", .from = {}});
    require(found.found == found.first.has_value());
    parameters_in_wal(content);
    minimal_wal_from(content);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input(data, size);
    const std::size_t chunk = input.byte() * std::size_t{61} + 37;
    const bool raw = chunk == 37;
    std::string content = raw ? std::string(input.rest().substr(0, kRawMax)) : make_wal(input);
    const io::Bytes bytes = io::bytes(content);
    for (const auto depth : {WalReader::Depth::pages, WalReader::Depth::records})
        check_extent(bytes, depth, chunk);
    check_commits(bytes);
    check_targets(bytes);
    return 0;
}
