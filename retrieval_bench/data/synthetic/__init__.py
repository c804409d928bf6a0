"""The embedded dataset `synthetic`: rendered landmarks, so that everything runs with no download.

What it is. A landmark is a building in 3-D: halls, churches, palaces, towers, round and stepped houses of flat
faces (`landmark`), each wall with a texture of its own: pattern, storeys of windows, doors, cornices (`texture`),
signs, clocks, reliefs, murals (`ornament`). Seeded cameras stand around it (`camera`); neighbours, trees, people,
cars and poles come from one stock that all splits share (`stock`); a depth buffer decides what is seen (`scene`);
light, weather, lens, sensor and JPEG spoil the picture (`weather`). Sky and street are alike everywhere and light
changes all colours, so that colour and global layout alone do not solve it.

Splits. Training, validation and test landmarks are disjoint by construction: the role of a landmark enters its
seed. Two of every ten training and test landmarks are twins: the same structure, walls and windows, other ornaments
and a few other storeys. Ten more look-alikes of test landmarks are in the database without queries, beside one-off
buildings and empty streets.

Ground truth. In the Revisited format, by the rules of `labels`: they read the visible share, turn and zoom of the
facades that the query shows, and the light and blur of the view. No picture is labelled by hand or by a model.

On disk. ``<root>/<digest of options and renderer version>/`` holds ``jpg/``, ``gnd.json`` (``gnd``, ``imlist``,
``qimlist``), ``views.json`` (what the renderer knows of every picture, enough to apply other rules) and
``manifest.json`` (sha256 of every file, verified on load). Every picture has a generator of its own, seeded by
(seed, role, landmark, view): the bytes depend on the options alone, not on the number of workers. Other versions of
OpenCV or NumPy may round differently; the fact "images sha256" tells whether two machines have the same pictures.

Difficulty, measured at the default options in mAP Easy / Medium / Hard (per cent): chance 1 / 2 / 1, an HSV
histogram 9 / 9 / 4, a 16 x 16 thumbnail 4 / 5 / 3. A ResNet-10-T with GeM from random weights, whole images at
scales 0.71, 1 and 1.41: untrained 2 / 3 / 1, with whitening learnt on the training images 6 / 6 / 3; after 14,000
crops of 96 pixels (ArcFace on batch-normalised descriptors) 17 / 17 / 9, with whitening 29 / 28 / 16.

Limits. Flat walls, painted ornaments, no interiors, no relief, cast shadows or reflections; one stock of clutter;
colours livelier than those of photographs; pictures of at most 192 pixels; labels from geometry, where people judge
by eye. It ranks ideas and shows that a pipeline works; figures on it do not stand for ROxford5k or RParis6k and are
not comparable with published ones.
"""
