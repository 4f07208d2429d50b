/* segment.h - the size of the pieces in which the core's tables grow.
 *
 * A segment has 2^bits items: thousands, so that a directory of segments stays small. The build
 * for fuzzing and a second one of the simulator ask for a 256th (EVERDUE_SEGMENT_BITS_LESS is 8). A
 * core with thirty records then has seams between segments as one with millions does, and making
 * and ending one, which such a test does a hundred million times, costs no pages that nobody looks
 * at. What is no directory's segment (a shelf, the length of a run) names its own size for these
 * builds, the least that has all of its cases.
 */
#ifndef EVERDUE_SEGMENT_H
#define EVERDUE_SEGMENT_H

#ifndef EVERDUE_SEGMENT_BITS_LESS
#define EVERDUE_SEGMENT_BITS_LESS 0
#endif

#define SEGMENT_BITS(bits) ((bits)-EVERDUE_SEGMENT_BITS_LESS)
#define SEGMENT_BITS_OR(bits, few) (EVERDUE_SEGMENT_BITS_LESS ? (few) : (bits))

#endif
