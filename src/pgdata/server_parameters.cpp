#include "chronos/pgdata/server_parameters.h"

#include <algorithm>

#include "chronos/pgdata/control_file.h"
#include "pgdata/crc32c.h"
#include "pgdata/little_endian.h"
#include "pgdata/versions.h"

namespace chronos::pgdata {
namespace {

constexpr std::size_t kPageSize = 8192;
constexpr std::size_t kPageHeaderSize = 24;
constexpr std::size_t kLongPageHeaderSize = 40;
constexpr std::size_t kFlagsAt = 2;
constexpr std::size_t kAddressAt = 8;
constexpr std::uint16_t kLongHeader = 0x0002;

/// XLOG_PARAMETER_CHANGE: a header, the length of the data in two bytes, the data, which begin with
/// the five values.
constexpr std::size_t kHeaderSize = 24;
constexpr std::size_t kCrcAt = 20;
constexpr std::size_t kInfoAt = 16;
constexpr std::size_t kDataSize = 28;
constexpr std::size_t kDataAt = kHeaderSize + 2;
constexpr std::size_t kRecordSize = kDataAt + kDataSize;
/// wal_level stands behind the five values.
constexpr std::size_t kLevelAt = ServerParameters::kCount * sizeof(std::uint32_t);
constexpr std::uint32_t kMinimal = 0;
using Record = std::array<std::byte, kRecordSize>;
constexpr std::uint16_t kInfoAndManager = 0x0060;  ///< the resource manager behind it is number 0
constexpr std::uint16_t kShortData = 0x1CFF;       ///< 0xFF, then 28
/// No server has more of anything.
constexpr std::uint32_t kValueMax = 1u << 23;

std::optional<ServerParameters> load_values(io::Bytes from) {
    ServerParameters parameters;
    for (std::size_t i = 0; i < ServerParameters::kCount; ++i) {
        parameters.values[i] = load<std::uint32_t>(from, i * sizeof(std::uint32_t));
        if (parameters.values[i] > kValueMax) return std::nullopt;
    }
    return parameters;
}

/// The bytes of a record at `at`, which may go on behind the header of the next page.
bool take_record(io::Bytes content, std::size_t at, Record& record) {
    const std::size_t page_end = (at / kPageSize + 1) * kPageSize;
    const std::size_t here = std::min(kRecordSize, page_end - at);
    const std::size_t rest = kRecordSize - here;
    if (at + here > content.size()) return false;
    std::ranges::copy(content.subspan(at, here), record.begin());
    if (rest == 0) return true;
    if (page_end + kPageHeaderSize + rest > content.size()) return false;
    std::ranges::copy(content.subspan(page_end + kPageHeaderSize, rest),
                      record.begin() + static_cast<std::ptrdiff_t>(here));
    return true;
}

bool is_parameter_change(const Record& record) {
    const io::Bytes bytes(record);
    if (load<std::uint16_t>(bytes, kInfoAt) != kInfoAndManager ||
        load<std::uint16_t>(bytes, kInfoAt + 2) != 0 ||
        load<std::uint16_t>(bytes, kHeaderSize) != kShortData)
        return false;
    // The checksum is over the data first, then over the header up to itself.
    std::array<std::byte, kRecordSize - kHeaderSize + kCrcAt> summed{};
    std::copy(record.begin() + kHeaderSize, record.end(), summed.begin());
    std::copy(record.begin(), record.begin() + kCrcAt,
              summed.begin() + (kRecordSize - kHeaderSize));
    return crc32c(summed) == load<std::uint32_t>(bytes, kCrcAt);
}

template <class Visit>
void for_each_record(io::Bytes content, const Visit& visit) {
    for (std::size_t page = 0; page + kPageSize <= content.size(); page += kPageSize) {
        const bool is_long = (load<std::uint16_t>(content, page + kFlagsAt) & kLongHeader) != 0;
        const std::size_t data = page + (is_long ? kLongPageHeaderSize : kPageHeaderSize);
        for (std::size_t at = data; at < page + kPageSize; at += 8) {
            // The size of the record, and no transaction.
            if (load<std::uint64_t>(content, at) != kRecordSize) continue;
            Record record{};
            if (take_record(content, at, record) && is_parameter_change(record)) visit(at, record);
        }
    }
}

}  // namespace

std::array<ServerParameters::Setting, ServerParameters::kCount> ServerParameters::settings(
    unsigned major) {
    const auto version = std::ranges::find(versions(), major, &Version::major);
    return {{{"max_connections", 100},
             {"max_worker_processes", 8},
             {"max_wal_senders", 10},
             {"max_prepared_transactions", 0},
             {"max_locks_per_transaction", version == versions().end()
                                               ? Version{}.max_locks_per_transaction
                                               : version->max_locks_per_transaction}}};
}

void ServerParameters::raise(const ServerParameters& other) {
    for (std::size_t i = 0; i < kCount; ++i) values[i] = std::max(values[i], other.values[i]);
}

std::optional<ServerParameters> parameters_in_control_file(io::Bytes content) {
    const auto control = parse_control_file(content);
    if (!control || control->major() < 12) return std::nullopt;
    const Version* version = find_version(control->control_version, control->catalog_version);
    return load_values(content.subspan(version->control.max_connections));
}

std::optional<ServerParameters> parameters_in_wal(io::Bytes content) {
    std::optional<ServerParameters> found;
    for_each_record(content, [&](std::size_t, const Record& record) {
        const auto values = load_values(io::Bytes(record).subspan(kDataAt));
        if (!values) return;
        if (found)
            found->raise(*values);
        else
            found = values;
    });
    return found;
}

std::optional<Lsn> minimal_wal_from(io::Bytes content) {
    std::optional<Lsn> found;
    for_each_record(content, [&](std::size_t at, const Record& record) {
        const io::Bytes data = io::Bytes(record).subspan(kDataAt);
        if (load<std::uint32_t>(data, kLevelAt) != kMinimal || !load_values(data)) return;
        const std::size_t page = at / kPageSize * kPageSize;
        const auto start = load<std::uint64_t>(content, kAddressAt);
        // A page that was not written yet still has what the file was used for before.
        if (load<std::uint64_t>(content, page + kAddressAt) != start + page) return;
        if (!found) found = Lsn{start + at};
    });
    return found;
}

}  // namespace chronos::pgdata
