#include "ops/archive/wal_compressor.h"

namespace chronos::ops::archive {

using compress::Reach;

Result<std::size_t> WalCompressor::compress(io::Bytes segment, io::MutableBytes out) {
    // Not the first one: a process that archives a single segment would measure for nobody.
    const bool probes = count_++ % kProbeInterval == 1;
    if (probes && compress::can_look_near(type_, level_)) return probe(segment, out);
    return compress::compress_whole(type_, level_, segment, out, reach_);
}

Result<std::size_t> WalCompressor::probe(io::Bytes segment, io::MutableBytes out) {
    const std::size_t near =
        CHRONOS_TRY(compress::compress_whole(type_, level_, segment, out, Reach::near));
    const std::size_t usual = CHRONOS_TRY(compress::compress_whole(type_, level_, segment, out));
    const double most = static_cast<double>(usual) * (1 + kSizeExcessMax);
    reach_ = static_cast<double>(near) <= most ? Reach::near : Reach::of_level;
    return usual;
}

}  // namespace chronos::ops::archive
