#include "bodies.h"

#include <assert.h>
#include <stdlib.h>

/* What is free in a chunk is no memory of anybody: the sanitizer says who uses it all the same. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define CLOSE(at, bytes) __asan_poison_memory_region((at), (bytes))
#define OPEN(at, bytes) __asan_unpoison_memory_region((at), (bytes))
#else
#define CLOSE(at, bytes) ((void)(at), (void)(bytes))
#define OPEN(at, bytes) ((void)(at), (void)(bytes))
#endif

enum {
    PLACES_MAX = 1 << BODIES_ITEM_BITS,
    CHUNKS_MAX = 1 << (32 - BODIES_ITEM_BITS),
    FIRST_ROOM = 16,
    ALIGNMENT = 64,
    FAR = 0, /* class of what is allocated by itself */
};

_Static_assert((int)BODIES_CHUNK_BYTES >= BODIES_SMALL_MAX, "a chunk has room for one at least");
_Static_assert(BODIES_CHUNK_BYTES / sizeof(struct bodies_far) >= 1, "or where it is");

static uint32_t class_of(uint32_t bytes)
{
    return bytes > BODIES_SMALL_MAX ? FAR : (bytes + BODIES_STEP - 1) / BODIES_STEP;
}

static uint32_t chunk_class(const struct bodies_chunk *chunk)
{
    return chunk->item_bytes / BODIES_STEP;
}

static uint32_t item_bytes(const struct bodies_chunk *chunk)
{
    return chunk->item_bytes ? chunk->item_bytes : (uint32_t)sizeof(struct bodies_far);
}

static uint32_t number_of(const struct bodies *bodies, const struct bodies_chunk *chunk)
{
    return (uint32_t)(chunk - bodies->chunks);
}

static struct bodies_chunk *chunk_of(struct bodies *bodies, uint32_t body)
{
    return &bodies->chunks[body >> BODIES_ITEM_BITS];
}

static uint8_t *item_at(const struct bodies_chunk *chunk, uint32_t place)
{
    return chunk->items + (size_t)place * item_bytes(chunk);
}

static uint8_t *place_of(struct bodies *bodies, uint32_t body)
{
    return item_at(chunk_of(bodies, body), body & (PLACES_MAX - 1));
}

/* --- those with room ------------------------------------------------------------------------- */

/* Behind the first, which goes on filling. */
static void link_chunk(struct bodies *bodies, struct bodies_chunk *chunk)
{
    uint32_t *first = &bodies->with_room[chunk_class(chunk)];
    uint32_t number = number_of(bodies, chunk);
    chunk->before = *first;
    chunk->next = *first ? bodies->chunks[*first].next : 0;
    if (chunk->next)
        bodies->chunks[chunk->next].before = number;
    if (*first)
        bodies->chunks[*first].next = number;
    else
        *first = number;
}

static void unlink_chunk(struct bodies *bodies, struct bodies_chunk *chunk)
{
    if (chunk->next)
        bodies->chunks[chunk->next].before = chunk->before;
    if (chunk->before)
        bodies->chunks[chunk->before].next = chunk->next;
    else
        bodies->with_room[chunk_class(chunk)] = chunk->next;
    chunk->next = chunk->before = 0;
}

/* --- chunks ----------------------------------------------------------------------------------- */

/* The directory is small (32 bytes for thousands of bodies) and may be copied. */
static uint32_t take_number(struct bodies *bodies)
{
    uint32_t number = bodies->free_first;
    if (number) {
        bodies->free_first = bodies->chunks[number].next;
        return number;
    }
    if (bodies->chunk_count == CHUNKS_MAX)
        return 0;
    if (bodies->chunk_count == bodies->chunk_room) {
        uint32_t room = bodies->chunk_room ? bodies->chunk_room * 2 : FIRST_ROOM;
        struct bodies_chunk *chunks = realloc(bodies->chunks, room * sizeof(*chunks));
        if (!chunks)
            return 0;
        bodies->chunks = chunks;
        bodies->chunk_room = room;
    }
    if (bodies->chunk_count == 0)
        bodies->chunks[bodies->chunk_count++] = (struct bodies_chunk){.items = NULL};
    return bodies->chunk_count++;
}

static void give_number(struct bodies *bodies, uint32_t number)
{
    bodies->chunks[number] = (struct bodies_chunk){.next = bodies->free_first};
    bodies->free_first = number;
}

static struct bodies_chunk *add_chunk(struct bodies *bodies, uint32_t class)
{
    uint32_t number = take_number(bodies);
    if (!number)
        return NULL;
    uint8_t *items = bodies->spare;
    bodies->spare = NULL;
    if (!items)
        items = aligned_alloc(ALIGNMENT, BODIES_CHUNK_BYTES);
    if (!items) {
        give_number(bodies, number);
        return NULL;
    }
    struct bodies_chunk *chunk = &bodies->chunks[number];
    *chunk = (struct bodies_chunk){.items = items, .item_bytes = (uint16_t)(class * BODIES_STEP)};
    uint32_t room = BODIES_CHUNK_BYTES / item_bytes(chunk);
    chunk->room = (uint16_t)(room < PLACES_MAX ? room : PLACES_MAX);
    CLOSE(items, BODIES_CHUNK_BYTES);
    link_chunk(bodies, chunk);
    return chunk;
}

/* Nobody is in it. */
static void drop_chunk(struct bodies *bodies, struct bodies_chunk *chunk)
{
    bodies->hole_bytes -= (uint64_t)chunk->fresh * item_bytes(chunk);
    if (chunk->is_leaving)
        bodies->leaving--;
    else
        unlink_chunk(bodies, chunk);
    OPEN(chunk->items, BODIES_CHUNK_BYTES);
    if (bodies->spare)
        free(chunk->items);
    else
        bodies->spare = chunk->items;
    give_number(bodies, number_of(bodies, chunk));
}

/* --- items ------------------------------------------------------------------------------------ */

/* BODIES_NONE when memory is out. */
static uint32_t take_item(struct bodies *bodies, uint32_t class)
{
    uint32_t first = bodies->with_room[class];
    struct bodies_chunk *chunk = first ? &bodies->chunks[first] : add_chunk(bodies, class);
    if (!chunk)
        return BODIES_NONE;
    uint32_t place = chunk->fresh;
    if (chunk->free_first) {
        place = chunk->free_first - 1u;
        OPEN(item_at(chunk, place), item_bytes(chunk));
        memcpy(&chunk->free_first, item_at(chunk, place), sizeof(chunk->free_first));
        bodies->hole_bytes -= item_bytes(chunk);
    } else {
        OPEN(item_at(chunk, place), item_bytes(chunk));
        chunk->fresh++;
    }
    bodies->used_bytes += item_bytes(chunk);
    if (++chunk->used == chunk->room)
        unlink_chunk(bodies, chunk);
    return number_of(bodies, chunk) << BODIES_ITEM_BITS | place;
}

static void give_item(struct bodies *bodies, uint32_t body)
{
    struct bodies_chunk *chunk = chunk_of(bodies, body);
    uint32_t place = body & (PLACES_MAX - 1);
    assert(chunk->used > 0);
    assert(place < chunk->fresh);
    if (chunk->used-- == chunk->room && !chunk->is_leaving)
        link_chunk(bodies, chunk);
    memcpy(item_at(chunk, place), &chunk->free_first, sizeof(chunk->free_first));
    CLOSE(item_at(chunk, place), item_bytes(chunk));
    chunk->free_first = (uint16_t)(place + 1);
    bodies->used_bytes -= item_bytes(chunk);
    bodies->hole_bytes += item_bytes(chunk);
    if (chunk->used == 0)
        drop_chunk(bodies, chunk);
}

/* --- bodies ----------------------------------------------------------------------------------- */

static struct bodies_far far_at(struct bodies *bodies, uint32_t body)
{
    struct bodies_far far;
    memcpy(&far, place_of(bodies, body), sizeof(far));
    return far;
}

static uint32_t take_far(struct bodies *bodies, uint32_t bytes)
{
    struct bodies_far far = {.body = malloc(bytes), .bytes = bytes};
    uint32_t body = far.body ? take_item(bodies, FAR) : BODIES_NONE;
    if (!body) {
        free(far.body);
        return BODIES_NONE;
    }
    memcpy(place_of(bodies, body), &far, sizeof(far));
    bodies->used_bytes += bytes;
    return body;
}

uint32_t bodies_put(struct bodies *bodies, const struct body_fields *fields)
{
    uint32_t bytes = body_measure(fields);
    uint32_t class = class_of(bytes);
    uint32_t body = class == FAR ? take_far(bodies, bytes) : take_item(bodies, class);
    if (body)
        body_pack(fields, class == FAR ? far_at(bodies, body).body : place_of(bodies, body));
    return body;
}

void bodies_give(struct bodies *bodies, uint32_t body)
{
    if (!body)
        return;
    if (!chunk_of(bodies, body)->item_bytes) {
        struct bodies_far far = far_at(bodies, body);
        bodies->used_bytes -= far.bytes;
        free(far.body);
    }
    give_item(bodies, body);
}

void bodies_release(struct bodies *bodies)
{
    assert(bodies->used_bytes == 0);
    free(bodies->chunks);
    free(bodies->spare);
    *bodies = (struct bodies){.chunks = NULL};
}

/* --- holes ------------------------------------------------------------------------------------ */

bool bodies_are_sparse(const struct bodies *bodies)
{
    return bodies->hole_bytes > bodies->used_bytes / 2 + BODIES_HOLES_LEAST;
}

void bodies_begin_leaving(struct bodies *bodies)
{
    for (uint32_t i = 1; i < bodies->chunk_count; i++) {
        struct bodies_chunk *chunk = &bodies->chunks[i];
        bool is_full = chunk->used * 4u >= chunk->fresh * 3u;
        if (!chunk->items || chunk->is_leaving || is_full)
            continue;
        unlink_chunk(bodies, chunk);
        chunk->is_leaving = true;
        bodies->leaving++;
    }
}

uint32_t bodies_move(struct bodies *bodies, uint32_t body)
{
    uint32_t class = chunk_class(chunk_of(bodies, body));
    uint32_t moved = take_item(bodies, class);
    if (!moved)
        return BODIES_NONE;
    memcpy(place_of(bodies, moved), place_of(bodies, body), item_bytes(chunk_of(bodies, body)));
    give_item(bodies, body);
    return moved;
}

#define HOLDS(condition, text)                                                                     \
    if (!(condition)) {                                                                            \
        *what = text;                                                                              \
        return false;                                                                              \
    }

bool bodies_check(const struct bodies *bodies, const char **what)
{
    uint64_t holes = 0;
    uint32_t leaving = 0, with_room = 0, linked = 0;
    for (uint32_t i = 1; i < bodies->chunk_count; i++) {
        const struct bodies_chunk *chunk = &bodies->chunks[i];
        if (!chunk->items)
            continue;
        HOLDS(chunk->used > 0, "a chunk of bodies that nobody is in");
        HOLDS(chunk->used <= chunk->fresh && chunk->fresh <= chunk->room,
              "more bodies than a chunk has room for");
        holes += (uint64_t)(chunk->fresh - chunk->used) * item_bytes(chunk);
        leaving += chunk->is_leaving;
        with_room += !chunk->is_leaving && chunk->used < chunk->room;
    }
    for (uint32_t class = 0; class < BODIES_CLASSES; class ++)
        for (uint32_t i = bodies->with_room[class]; i; i = bodies->chunks[i].next) {
            HOLDS(bodies->chunks[i].items && chunk_class(&bodies->chunks[i]) == class,
                  "a chunk of bodies is in a list that it does not belong to");
            linked++;
        }
    HOLDS(holes == bodies->hole_bytes, "holes between bodies are miscounted");
    HOLDS(leaving == bodies->leaving, "chunks to be left are miscounted");
    HOLDS(linked == with_room, "a chunk of bodies with room is not found");
    return true;
}
